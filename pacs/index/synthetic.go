package index

// SyntheticPrefix begins the key of packs that name no object: they are of
// studies generated for measuring (package synthetic). Patrol, merging,
// sweeping and retention leave them alone.
const SyntheticPrefix = "synthetic/"
