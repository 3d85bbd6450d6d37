package verdict

import (
	"fmt"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/pkg/graylib"
)

// Name names instances for people: "baseline A", "gray A", "the gateway".
func Name(service string, tag graylib.Tag) string {
	if service == gateway && tag == graylib.Untagged {
		return "the gateway"
	}
	if tag == graylib.Untagged {
		return "baseline " + strings.ToUpper(service)
	}
	return string(tag) + " " + strings.ToUpper(service)
}

func tagged(t graylib.Tag) string {
	if t == graylib.Untagged {
		return "untagged"
	}
	return "tagged " + string(t)
}

func marked(t graylib.Tag) string {
	if t == graylib.Untagged {
		return "without a mark"
	}
	return "marked " + string(t)
}

func inGroup(group string) string {
	if group == "" {
		return ""
	}
	return " (group " + group + ")"
}

// stuck says what is known of a message that nobody handled.
func stuck(m observer.Message) string {
	results := map[string]int{}
	for _, e := range m.Finished {
		results[e.Result]++
	}
	switch {
	case results[graylib.ResultPanic] > 0:
		return fmt.Sprintf(" (its handler panicked %s)", count(results[graylib.ResultPanic], "time", "times"))
	case results[graylib.ResultRetry] > 0:
		return fmt.Sprintf(" (its handler failed %s)", count(results[graylib.ResultRetry], "time", "times"))
	case len(m.Begun) > len(m.Finished):
		return " (a handler began it and has not returned)"
	case len(m.Finished) > 0:
		return fmt.Sprintf(" (it was skipped by %s)", Name(m.Finished[0].Service, m.Finished[0].Tag))
	}
	return ""
}

// short clips ids to what tells them apart in one run: their end.
func short(id string) string {
	const keep = 12
	if len(id) <= keep+1 {
		return id
	}
	return "…" + id[len(id)-keep:]
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func path(services []string) string {
	up := make([]string, len(services))
	for i, s := range services {
		up[i] = strings.ToUpper(s)
	}
	return strings.Join(up, " -> ")
}

func seconds(d time.Duration) string {
	if d >= time.Second {
		d = d.Round(100 * time.Millisecond)
	}
	return fmt.Sprintf("%g s", d.Seconds())
}
