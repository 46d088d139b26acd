//go:build !linux

package publish

func background() {}
