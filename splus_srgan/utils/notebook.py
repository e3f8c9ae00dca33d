# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What objects show of themselves in a notebook: tables and pictures in HTML."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

__all__ = ["html_picture", "html_table"]


def html_table(title: object, rows: Mapping[str, object]) -> str:
    """
    Make a table of two columns.

    Parameters
    ----------
    title : str
        Stands above it.
    rows : dict of str to object
        Names and values; both are shown as text, whatever is in them.

    Returns
    -------
    html : str
        The table.

    Examples
    --------
    >>> from splus_srgan.utils.notebook import html_table
    >>> html_table("model card", {"bands": "<g>"})
    '<b>model card</b><table><tr><th>bands</th><td>&lt;g&gt;</td></tr></table>'
    """
    lines = [
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in rows.items()
    ]
    return f"<b>{escape(str(title))}</b><table>{''.join(lines)}</table>"


def html_picture(image: ArrayLike, *, softening: float, alt: str, width: int = 256) -> str:
    """
    Draw an image into HTML, where matplotlib is installed.

    Parameters
    ----------
    image : array-like, shape (ny, nx)
        Values above the sky.
    softening : float
        Noise, up to which the picture is linear.
    alt : str
        What it shows, in words.
    width : int, optional
        Width of the picture, in pixels of the screen.

    Returns
    -------
    html : str
        The picture, or nothing where matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.utils.notebook import html_picture
    >>> html_picture(np.eye(8), softening=0.1, alt="a line")[:9]
    '<img alt='
    """
    try:
        from matplotlib.image import imsave
    except ImportError:
        return ""
    shown = np.arcsinh(np.nan_to_num(np.asarray(image, float)) / softening)
    stream = io.BytesIO()
    imsave(stream, shown, format="png", origin="lower", cmap="gray", vmin=-1.5)
    content = base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<img alt="{escape(alt)}" width="{width}" style="image-rendering: pixelated" '
        f'src="data:image/png;base64,{content}">'
    )
