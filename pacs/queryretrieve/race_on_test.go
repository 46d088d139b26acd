//go:build race

package queryretrieve

const raceEnabled = true
