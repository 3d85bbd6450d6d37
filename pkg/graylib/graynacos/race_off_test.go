//go:build !race

package graynacos

const raceEnabled = false
