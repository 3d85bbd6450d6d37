package remoting

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
)

// resetEntry is one queue and its offset in the form of Java's fastjson, whose keys are objects: {"topic":…}:5.
var resetEntry = regexp.MustCompile(`\{("[^{}]*)\}\s*:\s*(-?\d+)`)

// parseReset reads the offsets to go to (org.apache.rocketmq.remoting.protocol.body.ResetOffsetBody). A body of another form is an
// error that wraps [ErrMalformedFrame].
func parseReset(body []byte) (map[Queue]int64, error) {
	to := make(map[Queue]int64)
	for _, m := range resetEntry.FindAllSubmatch(body, -1) {
		var q Queue
		if err := json.Unmarshal(append(append([]byte("{"), m[1]...), '}'), &q); err != nil {
			return nil, fmt.Errorf("%w: a queue of an offset's reset: %w", ErrMalformedFrame, err)
		}
		offset, err := strconv.ParseInt(string(m[2]), 10, 64)
		if err != nil || q.Topic == "" || q.Broker == "" || offset < 0 {
			return nil, fmt.Errorf("%w: reset of %q to %s", ErrMalformedFrame, q, m[2])
		}
		to[q] = offset
	}
	if len(to) == 0 {
		return nil, fmt.Errorf("%w: no queue in an offset's reset: %.100q", ErrMalformedFrame, body)
	}
	return to, nil
}
