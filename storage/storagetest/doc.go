// Package storagetest holds the one suite that every storage.Store must pass.
// It is the executable form of the promises in package storage.
package storagetest
