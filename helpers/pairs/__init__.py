"""From scenes to (input, target) pairs, and the `tf.data` pipelines over them."""
