package localinfra

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// download is how much Maven says that it has fetched.
type download struct {
	files int
	bytes float64
}

// downloadLine is what Maven logs of each file in batch mode, with its size.
var downloadLine = regexp.MustCompile(`(?m)^\[INFO\] Downloaded from .* \(([0-9.]+) ([kMG]?B)\b`)

var byteUnits = map[string]float64{"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}

// downloads reads a log of Maven's; what cannot be read counts as nothing, for it serves the display alone.
func downloads(log string) download {
	data, err := os.ReadFile(log)
	if err != nil {
		return download{}
	}
	var d download
	for _, m := range downloadLine.FindAllSubmatch(data, -1) {
		n, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			continue
		}
		d.files++
		d.bytes += n * byteUnits[string(m[2])]
	}
	return d
}

// String says how much, in megabytes.
func (d download) String() string {
	if d.files == 0 {
		return "nothing to download"
	}
	return fmt.Sprintf("%d files, %.0f MB downloaded", d.files, d.bytes/1e6)
}
