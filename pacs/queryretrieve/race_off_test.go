//go:build !race

package queryretrieve

const raceEnabled = false
