// Package grayprom counts what passes through graylib's adapters for Prometheus: requests and calls by request tag and
// reason, their latencies, messages by group, tag and verdict, and the state of the rules, the routes and the edge.
//
//	metrics := grayprom.New()
//	rt, err := graylib.New(id, graylib.WithTelemetry(metrics))
//	http.Handle(graylib.MetricsPath, metrics.Handler())
//
// Every series bears the labels service and own_tag of the runtime. Labels are bounded: a tag is one of the listed lanes' or
// "other", and untagged is the empty label; endpoints, topics and groups are the program's own names, and beyond a bound
// "other" too. docs/observability.md lists the series.
package grayprom
