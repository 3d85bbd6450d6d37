package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/internal/draw"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

// trafficPlan is steady traffic: a share of the requests is gray, evenly spread.
type trafficPlan struct {
	plain, gray suite.Request
	share       float64 // 0 to 1
	qps         float64
	span        time.Duration
}

// maxInFlight bounds the requests under way; what would go beyond is left out and counted.
const maxInFlight = 256

// sender sends one request; *suite.Client is one.
type sender interface {
	Send(ctx context.Context, r suite.Request) (suite.Answer, error)
}

// seen counts hops by service and own tag.
type seen struct {
	service string
	tag     graylib.Tag
}

// window is what happened in one second, or in all of them.
type window struct {
	span      time.Duration
	hops      map[seen]int
	requests  int // answered, or failed
	gray      int // of these, how many were sent as gray
	errors    int
	left      int // not sent, as too many were under way
	latencies []time.Duration
	lastError string
}

func newWindow() *window { return &window{hops: map[seen]int{}} }

func (w *window) add(o *window) {
	w.span += o.span
	for k, n := range o.hops {
		w.hops[k] += n
	}
	w.requests += o.requests
	w.gray += o.gray
	w.errors += o.errors
	w.left += o.left
	w.latencies = append(w.latencies, o.latencies...)
	if o.lastError != "" {
		w.lastError = o.lastError
	}
}

// percentile returns the p-th percentile (0 to 100) by nearest rank of sorted values; 0 where there are none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	k := int(p/100*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(k, 0), len(sorted)-1)]
}

// runTraffic sends the traffic and shows it. It fails where any request failed.
func runTraffic(ctx context.Context, client *suite.Client, plan trafficPlan, out io.Writer) error {
	if gateway := client.Gateway(); !isLoopback(gateway) {
		return fmt.Errorf("steady traffic is sent on this machine alone; the gateway is %s", orDash(gateway))
	}
	total := traffic(ctx, client, plan, newTable(out))
	if total.errors > 0 {
		return fmt.Errorf("%d of %d requests failed, the last one: %s", total.errors, total.requests, total.lastError)
	}
	if total.requests == 0 {
		return errors.New("interrupted before a request was answered")
	}
	return nil
}

func isLoopback(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

// traffic sends the traffic until its span is over, or ctx ends, and returns the sums.
func traffic(ctx context.Context, client sender, plan trafficPlan, t *table) *window {
	var mu sync.Mutex
	current, total := newWindow(), newWindow()
	slots := make(chan struct{}, maxInFlight)
	var flying sync.WaitGroup

	one := func(r suite.Request, gray bool) {
		a, err := client.Send(ctx, r)
		mu.Lock()
		defer mu.Unlock()
		if err != nil && ctx.Err() != nil {
			return // the end, not an error
		}
		current.requests++
		if gray {
			current.gray++
		}
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", a.Status, a.Error)
		}
		if err != nil {
			current.errors++
			current.lastError = err.Error()
			return
		}
		current.latencies = append(current.latencies, a.Took)
		for _, h := range a.Hops {
			current.hops[seen{h.Service, h.Tag}]++
		}
	}

	began := time.Now()
	last := began
	flush := func() *window {
		mu.Lock()
		w := current
		current = newWindow()
		now := time.Now()
		w.span, last = now.Sub(last), now
		total.add(w)
		mu.Unlock()
		return w
	}

	end := time.NewTimer(plan.span)
	defer end.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	sent, grays := 0, 0
loop:
	for {
		select {
		case <-ctx.Done():
			break loop
		case <-end.C:
			break loop
		case <-second.C:
			t.show(flush(), time.Since(began))
		case <-next.C:
			// All that is due by now: a late timer sends several at once, so the rate holds.
			for due := int(time.Since(began).Seconds()*plan.qps) + 1; sent < due && ctx.Err() == nil; sent++ {
				r, gray := plan.plain, false
				if float64(grays) < plan.share*float64(sent+1)-1e-9 {
					r, gray = plan.gray, true
					grays++
				}
				select {
				case slots <- struct{}{}:
					flying.Go(func() {
						defer func() { <-slots }()
						one(r, gray)
					})
				default:
					mu.Lock()
					current.left++
					mu.Unlock()
				}
			}
			// A moment later, so that rounding doesn't have it look too early, again and again.
			next.Reset(time.Until(began.Add(time.Duration(float64(sent)/plan.qps*float64(time.Second)) + time.Microsecond)))
		}
	}
	flying.Wait()
	flush() // a fraction of a second, which counts in the sums alone
	t.summary(total, plan)
	return total
}

// table shows traffic: on a terminal it is rewritten each second, elsewhere it is a line a second.
type table struct {
	out   io.Writer
	paint *draw.Painter
	live  bool
	drawn int    // lines that stand there
	rows  []seen // as far as they were ever seen, so that rows don't jump
}

func newTable(out io.Writer) *table {
	return &table{out: out, paint: draw.NewPainter(out), live: draw.IsTerminal(out)}
}

func (t *table) know(w *window) {
	for k := range w.hops {
		if !slices.Contains(t.rows, k) {
			t.rows = append(t.rows, k)
		}
	}
	slices.SortFunc(t.rows, func(a, b seen) int {
		if d := strings.Compare(a.service, b.service); d != 0 {
			return d
		}
		return strings.Compare(string(a.tag), string(b.tag))
	})
}

func (t *table) show(w *window, at time.Duration) {
	t.know(w)
	if w.span <= 0 {
		return
	}
	if !t.live {
		if t.drawn == 0 {
			t.drawn++
			_, _ = fmt.Fprintln(t.out, "per second: requests, and hops by service and own tag")
		}
		cells := []string{fmt.Sprintf("%4.0fs  %6.1f/s", at.Seconds(), rate(w.requests, w))}
		for _, k := range t.rows {
			cells = append(cells, fmt.Sprintf("%s %.0f", label(k), rate(w.hops[k], w)))
		}
		cells = append(cells, t.health(w))
		_, _ = fmt.Fprintln(t.out, strings.Join(cells, "  "))
		return
	}
	lines := t.grid(w, at)
	var sb strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&sb, "\x1b[%dA", t.drawn)
	}
	for _, l := range lines {
		sb.WriteString("\r\x1b[2K" + l + "\n")
	}
	t.drawn = len(lines)
	_, _ = io.WriteString(t.out, sb.String())
}

// grid is a table with a row for each service and a column for each lane.
func (t *table) grid(w *window, at time.Duration) []string {
	var services []string
	var tags []graylib.Tag
	for _, k := range t.rows {
		if !slices.Contains(services, k.service) {
			services = append(services, k.service)
		}
		if !slices.Contains(tags, k.tag) {
			tags = append(tags, k.tag)
		}
	}
	slices.Sort(tags) // the baseline, the empty one, first
	var head strings.Builder
	fmt.Fprintf(&head, "  %-10s", "requests/s")
	for _, tag := range tags {
		fmt.Fprintf(&head, " %12s", laneTitle(tag))
	}
	lines := []string{t.paint.Head(head.String())}
	for _, s := range services {
		var sb strings.Builder
		fmt.Fprintf(&sb, "  %-10s", strings.ToUpper(s))
		for _, tag := range tags {
			cell := fmt.Sprintf(" %12.1f", rate(w.hops[seen{s, tag}], w))
			if tag == graylib.Untagged {
				cell = t.paint.Baseline(cell)
			} else {
				cell = t.paint.Lane(cell)
			}
			sb.WriteString(cell)
		}
		lines = append(lines, sb.String())
	}
	return append(lines, fmt.Sprintf("  %-10s %12.1f   %s   %s", "total", rate(w.requests, w), t.health(w), t.paint.Dim(fmt.Sprintf("%.0f s", at.Seconds()))))
}

// health is errors and latencies.
func (t *table) health(w *window) string {
	slices.Sort(w.latencies)
	fails := fmt.Sprintf("errors %d", w.errors)
	if w.errors > 0 {
		fails = t.paint.Bad(fails)
	}
	if w.left > 0 {
		fails += t.paint.Bad(fmt.Sprintf(", %d not sent", w.left))
	}
	return fmt.Sprintf("%s   p50 %s  p95 %s  p99 %s", fails,
		ms(percentile(w.latencies, 50)), ms(percentile(w.latencies, 95)), ms(percentile(w.latencies, 99)))
}

func (t *table) summary(w *window, plan trafficPlan) {
	_, _ = fmt.Fprintf(t.out, "\n%d requests in %.1f s (%.1f/s of %g/s asked), %d of them gray\n",
		w.requests, w.span.Seconds(), rate(w.requests, w), plan.qps, w.gray)
	for _, l := range t.grid(w, w.span) {
		_, _ = fmt.Fprintln(t.out, l)
	}
	if w.errors > 0 {
		_, _ = fmt.Fprintf(t.out, "  last error: %s\n", w.lastError)
	}
}

func rate(n int, w *window) float64 {
	if w.span <= 0 {
		return 0
	}
	return float64(n) / w.span.Seconds()
}

func label(k seen) string { return strings.ToUpper(k.service) + string(k.tag) }

func laneTitle(tag graylib.Tag) string {
	if tag == graylib.Untagged {
		return "baseline"
	}
	if len(tag) > 12 {
		return string(tag[:11]) + "…"
	}
	return string(tag)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
