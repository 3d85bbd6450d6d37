package grayprom

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/graychain/graychain/pkg/graylib"
)

// Series of the consumers of messages. A group stands for its queues: one series each would have no bound.
var (
	lagDesc          = desc("consumer_lag", "Messages of the queues held that are not consumed yet, retries left out.", "group", "topic")
	retryLagDesc     = desc("consumer_retry_lag", "Messages of the group's own retry topic, in queues held, that are not consumed yet.", "group")
	queuesDesc       = desc("consumer_queues", "Queues owned.", "group", "role")
	waitingDesc      = desc("consumer_waiting_queues", "Queues whose next message is held back.", "group", "reason")
	runningDesc      = desc("consumer_running", "Messages begun and not ended.", "group")
	spanDesc         = desc("consumer_span", "Messages that a crash now would have repeated.", "group")
	takenDesc        = desc("consumer_queues_taken_total", "Queues taken.", "group")
	handoffsDesc     = desc("consumer_handoffs_total", "Queues given up, with all handlers ended (planned) or not (forced).", "group", "kind")
	lostDesc         = desc("consumer_queues_lost_total", "Queues whose lock or connection was lost.", "group")
	slowDesc         = desc("consumer_slow_handlers_total", "Handlers that ran longer than the drain limit.", "group")
	pulledBytesDesc  = desc("consumer_pulled_bytes_total", "Bytes that brokers sent.", "group")
	handledBytesDesc = desc("consumer_handled_bytes_total", "Bytes of the messages that were given to handlers.", "group")
)

func describeConsumers(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		lagDesc, retryLagDesc, queuesDesc, waitingDesc, runningDesc, spanDesc, takenDesc, handoffsDesc, lostDesc, slowDesc, pulledBytesDesc, handledBytesDesc,
	} {
		ch <- d
	}
}

// point is one sample of one series.
type point struct {
	desc   *prometheus.Desc
	labels []string
	value  float64
}

// points adds up what consumers say by series: two names beyond the bound, or two consumers of one group, are one series.
type points map[string]*point

func (ps points) add(d *prometheus.Desc, v float64, labels ...string) {
	key := d.String() + "\x00" + strings.Join(labels, "\x00")
	p := ps[key]
	if p == nil {
		p = &point{desc: d, labels: labels}
		ps[key] = p
	}
	p.value += v
}

// collectConsumers collects what the process's consumers say of themselves.
func (m *Metrics) collectConsumers(consumers []graylib.ConsumerState,
	gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, int64, ...string)) {
	gauges, counts := make(points), make(points)
	for _, c := range consumers {
		for _, g := range c.Groups {
			m.addGroup(gauges, c, g)
		}
		for _, t := range c.Tallies {
			group := m.names.bounded(t.Group)
			counts.add(takenDesc, float64(t.Taken), group)
			counts.add(handoffsDesc, float64(t.Given-t.Forced), group, "planned")
			counts.add(handoffsDesc, float64(t.Forced), group, "forced")
			counts.add(lostDesc, float64(t.Lost), group)
			counts.add(slowDesc, float64(t.Slow), group)
			counts.add(pulledBytesDesc, float64(t.PulledBytes), group)
			counts.add(handledBytesDesc, float64(t.HandledBytes), group)
		}
	}
	for _, p := range gauges {
		gauge(p.desc, p.value, p.labels...)
	}
	for _, p := range counts {
		count(p.desc, int64(p.value), p.labels...)
	}
}

// addGroup adds one membership's series.
func (m *Metrics) addGroup(gauges points, c graylib.ConsumerState, g graylib.GroupState) {
	group := m.names.bounded(g.Group)
	for topic := range c.Subscriptions {
		gauges.add(lagDesc, 0, group, m.names.bounded(topic))
	}
	gauges.add(retryLagDesc, float64(g.RetryLag), group)
	gauges.add(runningDesc, float64(g.Running), group)
	gauges.add(queuesDesc, 0, group, string(g.Role))
	gauges.add(spanDesc, 0, group)
	for _, q := range g.Queues {
		if !q.Retry {
			gauges.add(lagDesc, float64(q.Lag), group, m.names.bounded(q.Topic))
		}
		if q.State == graylib.QueueOwned {
			gauges.add(queuesDesc, 1, group, string(g.Role))
		}
		gauges.add(spanDesc, float64(q.Span), group)
		if q.Waiting != "" {
			gauges.add(waitingDesc, 1, group, q.Waiting)
		}
	}
}
