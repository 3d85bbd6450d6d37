package graylib

// zonePanic bounds the preference of the own zone, see [WithZone].
const zonePanic = 2

// WithZone sets the zone that this process stands in, in place of GRAY_ZONE; empty = none. It is registered with its
// endpoints ([MetadataZone]), and instances of the own zone are preferred: within a lane first, so that a zone never
// comes before a lane, and within the baseline. Others are chosen where the lane has none in the own zone, where those
// were tried and failed within the call, and where those are too few to bear the zone's load: fewer than half of
// what an even spread over the zones would give it, ejected ones not counted. Then the whole lane is used.
func WithZone(zone string) Option { return func(rt *Runtime) { rt.zone = zone } }

// Zone returns the zone that this process stands in, or "".
func (rt *Runtime) Zone() string { return rt.zone }
