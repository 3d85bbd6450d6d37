package proc

import (
	"bytes"
	"io"
	"os"
	"strings"
)

const (
	// tailBytes bounds what Tail reads: the end of a log that has a stack trace in it fits.
	tailBytes = 64 << 10
	// tailLine bounds a line of Tail, in bytes: a class path printed on one line must not fill the screen.
	tailLine = 400
)

// Tail returns the last n lines of a file that lie at or after the offset from, without their line ends; fewer where
// there are fewer. It reads at most 64 KiB, cuts lines at 400 bytes, and replaces what is not UTF-8.
func Tail(path string, from int64, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	start := max(from, info.Size()-tailBytes)
	if start > info.Size() {
		start = 0 // truncated since
	}
	data, err := io.ReadAll(io.NewSectionReader(f, start, tailBytes))
	if err != nil {
		return nil, err
	}
	data = bytes.TrimRight(data, "\n")
	if len(data) == 0 || n <= 0 {
		return nil, nil
	}
	lines := strings.Split(string(data), "\n")
	if start > from && len(lines) > 1 {
		lines = lines[1:] // its beginning was not read
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	for i, l := range lines {
		l = strings.TrimRight(l, "\r")
		if len(l) > tailLine {
			l = l[:tailLine] + "…"
		}
		lines[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return lines, nil
}
