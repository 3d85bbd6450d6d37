package handoffbench

import "encoding/json"

// MarshalJSON implements json.Marshaler: times are in milliseconds.
func (r Result) MarshalJSON() ([]byte, error) {
	type times struct {
		Median float64 `json:"median"`
		P99    float64 `json:"p99"`
		Max    float64 `json:"max"`
	}
	of := func(t Times) times { return times{ms(t.Median), ms(t.P99), ms(t.Max)} }
	type kind struct {
		Handoffs int   `json:"handoffs"`
		First    times `json:"firstMessageMs"`
		All      times `json:"eachQueueMs"`
		Met      bool  `json:"met"`
	}
	kinds := make(map[Kind]kind)
	for _, k := range Kinds() {
		first, all := r.Times(k)
		kinds[k] = kind{first.Handoffs, of(first), of(all), first.Met()}
	}
	type handoff struct {
		Round int     `json:"round"`
		Kind  Kind    `json:"kind"`
		First float64 `json:"firstMessageMs"`
		All   float64 `json:"eachQueueMs"`
	}
	list := make([]handoff, len(r.Handoffs))
	for i, h := range r.Handoffs {
		list[i] = handoff{h.Round, h.Kind, ms(h.First), ms(h.All)}
	}
	c := r.Config
	return json.Marshal(map[string]any{
		"rounds": c.Rounds, "rate": c.Rate, "handlerMs": ms(c.Handler), "queues": c.Queues, "standIns": c.StandIns, "seed": c.Seed,
		"tookSeconds": r.Took.Seconds(), "messages": r.Messages, "reachedRate": r.Reached,
		"goalMs": map[string]float64{"median": ms(GoalMedian), "p99": ms(GoalP99)},
		"kinds":  kinds, "handoffs": list,
		"lost": r.Lost, "repeatedPlanned": r.RepeatedPlanned, "repeatedCrash": r.RepeatedCrash, "beyondSpan": r.BeyondSpan,
		"storedTwice": r.StoredTwice, "ok": r.OK(),
	})
}
