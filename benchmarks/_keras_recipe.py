# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The seed paper's networks and training step in Keras, for ``training.py``.

Runs in a Python of its own, which has tensorflow and nothing of this package.  It prints one
JSON line about itself, then waits: each line on standard input makes it take the steps of one
round, and print their seconds as a JSON list.
"""

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers


def conv(x, channels, kernel, strides=1):
    return layers.Conv2D(channels, kernel, strides=strides, padding="same")(x)


def normalize(x):
    return layers.BatchNormalization(momentum=0.8)(x)


def make_generator(side, n_bands):
    first = image = keras.Input((side, side, n_bands))
    first = layers.ReLU()(conv(image, 64, 9))
    x = first
    for _ in range(16):
        part = normalize(layers.ReLU()(conv(x, 64, 3)))
        x = layers.Add()([normalize(conv(part, 64, 3)), x])
    x = layers.Add()([normalize(conv(x, 64, 3)), first])
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.ReLU()(conv(x, 256, 3))
    return keras.Model(image, layers.Activation("tanh")(conv(x, n_bands, 9)))


def make_discriminator(side, n_bands):
    x = image = keras.Input((side, side, n_bands))
    for number, (channels, strides) in enumerate(
        (c, s) for c in (64, 128, 256, 512) for s in (1, 2)
    ):
        x = layers.LeakyReLU(negative_slope=0.2)(conv(x, channels, 3, strides))
        if number > 0:
            x = normalize(x)
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Dense(1024)(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(x))


def make_features(side, n_bands):
    vgg = keras.applications.VGG19(
        weights=None, include_top=False, input_shape=(side, side, n_bands)
    )
    features = keras.Model(vgg.input, vgg.get_layer("block3_conv3").output)
    features.trainable = False
    return features


class Recipe:
    """The networks, compiled as Keras users do, and a fixed batch."""

    def __init__(self, batch_size, side, n_bands=3):
        rng = np.random.default_rng(0)
        self.low = rng.random((batch_size, side, side, n_bands), np.float32)
        self.high = rng.random((batch_size, 2 * side, 2 * side, n_bands), np.float32)
        self.generator = make_generator(side, n_bands)
        self.discriminator = make_discriminator(2 * side, n_bands)
        self.features = make_features(2 * side, n_bands)
        self.discriminator.compile(loss="mse", optimizer=keras.optimizers.Adam(2e-4, beta_1=0.5))
        self.combined = self._combine(side, n_bands)
        shape = (batch_size, *self.discriminator.output_shape[1:])
        self.real, self.fake = np.ones(shape, np.float32), np.zeros(shape, np.float32)

    def _combine(self, side, n_bands):
        self.discriminator.trainable = False
        low = keras.Input((side, side, n_bands))
        made = self.generator(low)
        combined = keras.Model(low, [self.discriminator(made), self.features(made)])
        combined.compile(
            loss=["binary_crossentropy", "mse"],
            loss_weights=[1e-3, 1.0],
            optimizer=keras.optimizers.Adam(2e-4, beta_1=0.5),
        )
        return combined

    def step(self):
        """One batch: the discriminator on both kinds of images, then the generator."""
        made = self.generator.predict_on_batch(self.low)
        # Keras 3 asks at every step what is to be trained; Keras 2 when a model was compiled.
        self.discriminator.trainable = True
        self.discriminator.train_on_batch(self.high, self.real)
        self.discriminator.train_on_batch(made, self.fake)
        self.discriminator.trainable = False
        wanted = self.features.predict_on_batch(self.high)
        self.combined.train_on_batch(self.low, [self.real, wanted])


def main():
    options = json.loads(sys.argv[1])
    if options["threads"]:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options["threads"])
    recipe = Recipe(options["batch_size"], options["side"])
    for _ in range(options["warm_up"]):
        recipe.step()
    told = {
        "versions": {"keras": keras.__version__, "backend": keras.backend.backend()},
        "parameters": sum(int(np.prod(w.shape)) for w in recipe.generator.trainable_weights),
    }
    print(json.dumps(told), flush=True)
    for _ in sys.stdin:
        seconds = []
        for _ in range(options["steps"]):
            start = time.perf_counter()
            recipe.step()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
