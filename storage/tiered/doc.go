// Package tiered makes one storage.Store of two: a hot one for what is in daily
// use and a cold one, slower and cheaper, for what retention policies move
// there.
//
// The key alone says where an object is: keys that begin with [Prefix] are in
// the cold store, under that same key, and all others in the hot one. Nothing
// is looked up, nothing is cached, and both may be folders or buckets of any
// kind. Moving an object is the business of who knows its key (pacs/retention):
// copy it to Prefix + key, change the key where it is recorded, delete the old
// object when nobody reads it any more.
package tiered
