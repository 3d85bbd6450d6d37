//go:build race

package rules

// raceDetector is on: sync.Pool, which regexp uses, then drops things at random.
const raceDetector = true
