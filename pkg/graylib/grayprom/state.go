package grayprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/graychain/graychain/pkg/graylib"
)

// state collects, at each scrape, what the runtime counts by itself.
type state struct {
	rt *graylib.Runtime
	m  *Metrics
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	readyDesc          = desc("ready", "1 while the instance is ready.")
	revisionDesc       = desc("rules_revision", "Revision of the rules in force; 0 = none.")
	refusedDesc        = desc("rules_refused", "1 while the newest rules document is refused and an older one stays in force.")
	refusalsDesc       = desc("rules_refusals_total", "Rules documents that were refused.")
	malformedDesc      = desc("malformed_tags_total", "Malformed tags seen on the wire; each counted as untagged.")
	unlistedDesc       = desc("unlisted_marks_total", "Tags of producers' own mark functions whose lane isn't listed or is retired; none was written.")
	strippedDesc       = desc("stripped_headers_total", "Headers taken off requests from outside.")
	droppedDesc        = desc("dropped_events_total", "Events that did not reach the observer.")
	ejectionsDesc      = desc("ejections_total", "Instances that this process ejected.", "endpoint")
	ejectedDesc        = desc("ejected_instances", "Instances that this process leaves out now.", "endpoint")
	journalEventsDesc  = desc("journal_events_total", "Events written to the journal.")
	journalBacklogDesc = desc("journal_backlog_bytes", "Bytes of this process's journal that no observer has yet.")

	instancesDesc = desc("instances", "Instances that this process can reach, by their own tag.", "endpoint", "tag")
)

// Describe implements [prometheus.Collector].
func (state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		readyDesc, revisionDesc, refusedDesc, refusalsDesc, malformedDesc, unlistedDesc, strippedDesc, droppedDesc, ejectionsDesc, ejectedDesc, instancesDesc,
		journalEventsDesc, journalBacklogDesc,
	} {
		ch <- d
	}
	describeConsumers(ch)
}

// Collect implements [prometheus.Collector].
func (s state) Collect(ch chan<- prometheus.Metric) {
	st := s.rt.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(readyDesc, truth(st.Ready))
	gauge(revisionDesc, float64(st.Rules.Revision))
	gauge(refusedDesc, truth(st.Rules.Refusal != ""))
	count(refusalsDesc, st.Rules.Refusals)
	count(malformedDesc, st.MalformedTags)
	count(unlistedDesc, st.UnlistedMarks)
	count(strippedDesc, st.StrippedHeaders)
	count(droppedDesc, st.DroppedEvents)

	if st.Journal != nil {
		count(journalEventsDesc, st.Journal.Written)
		gauge(journalBacklogDesc, float64(st.Journal.Backlog))
	}
	s.m.collectConsumers(st.Consumers, gauge, count)

	ejections := make(map[string]int64)
	for endpoint, n := range s.rt.EjectionsOf() {
		ejections[s.m.names.bounded(endpoint)] += n
	}
	for endpoint, n := range ejections {
		count(ejectionsDesc, n, endpoint)
	}
	type key struct{ endpoint, tag string }
	instances, ejected := make(map[key]int), make(map[string]int)
	for endpoint, byTag := range st.Routes {
		endpoint = s.m.names.bounded(endpoint)
		for tag, n := range byTag {
			instances[key{endpoint, s.m.tag(tag)}] += n
		}
		ejected[endpoint] += 0
	}
	for endpoint, list := range st.Ejected {
		ejected[s.m.names.bounded(endpoint)] += len(list)
	}
	for k, n := range instances {
		gauge(instancesDesc, float64(n), k.endpoint, k.tag)
	}
	for endpoint, n := range ejected {
		gauge(ejectedDesc, float64(n), endpoint)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
