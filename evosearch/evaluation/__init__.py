"""Recipe + network + task -> Score: many small trainings of networks nobody has seen, each as cheap as it can be.

The data set lives on the device in its stored dtype where it fits; one permutation an epoch; batches are gathered,
normalised and augmented there. Nothing in a step waits for the device: the loss is summed on it and looked at every
20 steps. What goes wrong with a candidate is a Score with a status; only mistakes of the caller are raised.
"""
