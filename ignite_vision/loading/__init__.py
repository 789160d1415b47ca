"""From splits to batches: where rows come from, what is computed once, in which order they are asked for."""
