package graylib

// step is one group of instances that a call may go to, and why.
type step struct {
	set      *Set
	reason   reasonCode
	fallback bool // it is reached when all before it failed within the call: the reason is how they did
}

// route is where a call goes: each step's instances, and when all of them failed the next one's.
type route []step

// view is a snapshot as one process sees it: without what it ejected, its own zone first. Every lane's route is worked
// out here, so that choosing costs a look-up. It is immutable.
type view struct {
	snapshot *Snapshot
	baseline route // of untagged requests
	lanes    laneRoutes
}

func (v *view) route(tag Tag) route {
	if tag == Untagged {
		return v.baseline
	}
	return v.lanes.slot(tag).route
}

// newView works a snapshot out. out tells which addresses are ejected; nil = none.
func newView(s *Snapshot, out map[string]*health, zone string) *view {
	b := viewBuilder{out: out, zone: zone}
	live := b.live(s.baseline)
	baseline, allOut := live, live.Len() == 0 && s.baseline.Len() > 0
	if allOut {
		baseline = s.baseline
	}
	v := &view{
		snapshot: s,
		baseline: b.steps(nil, baseline, codeBaseline, false),
		lanes:    newLaneRoutes(len(s.lanes), b.steps(nil, baseline, codeNoInstance, false)),
	}
	ejected := b.steps(nil, baseline, codeEjected, false)
	for tag, lane := range s.lanes {
		live := b.live(lane)
		switch {
		case live.Len() > 0:
		case s.baseline.Len() > 0 && !allOut:
			v.lanes.add(tag, ejected)
			continue
		default: // all of both are ejected: they are used as if none was
			live = lane
		}
		v.lanes.add(tag, b.steps(b.steps(nil, live, codeLane, false), baseline, codeConnectFailed, true))
	}
	return v
}

type viewBuilder struct {
	out  map[string]*health
	zone string
}

// live returns those of the set that aren't ejected: the set itself where all are.
func (b viewBuilder) live(s *Set) *Set {
	if len(b.out) == 0 {
		return s
	}
	return s.only(func(in *Instance) bool {
		h := b.out[in.Addr]
		return h == nil || !h.out
	})
}

// steps appends the steps over a set: the own zone's share first, where it is preferred.
func (b viewBuilder) steps(r route, s *Set, reason reasonCode, fallback bool) route {
	if near := b.near(s); near != nil {
		r = append(r, step{near, reason, fallback})
	}
	return append(r, step{s, reason, fallback})
}

// near returns the set's share in the own zone, or nil where it isn't preferred, see [WithZone].
func (b viewBuilder) near(s *Set) *Set {
	if b.zone == "" || s.Len() == 0 {
		return nil
	}
	near := s.only(func(in *Instance) bool { return in.Zone == b.zone })
	if n := near.Len(); n == 0 || n == s.Len() || float64(n)*zonePanic < float64(s.Len())/float64(s.zones()) {
		return nil
	}
	return near
}

// only returns the set of those that keep takes: the set itself where it takes all.
func (s *Set) only(keep func(*Instance) bool) *Set {
	n := 0
	for i := range s.instances {
		if keep(&s.instances[i]) {
			n++
		}
	}
	if n == len(s.instances) {
		return s
	}
	list := make([]Instance, 0, n)
	for i := range s.instances {
		if keep(&s.instances[i]) {
			list = append(list, s.instances[i])
		}
	}
	return newSet(list)
}

// zones returns the number of zones that the set's instances stand in; the unknown one counts as one.
func (s *Set) zones() int {
	seen := make(map[string]struct{})
	for i := range s.instances {
		seen[s.instances[i].Zone] = struct{}{}
	}
	return len(seen)
}
