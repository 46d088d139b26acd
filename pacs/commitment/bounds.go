package commitment

// Bounds are the limits of requests: how many instances one may name, and how
// many requests of one device may wait for their answer.
func Bounds() (instances, open int) { return maxInstances, maxOpen }
