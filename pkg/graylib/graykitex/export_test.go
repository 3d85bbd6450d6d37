package graykitex

import "context"

// RPCInfoKeyLearned tells whether it was learned under which key Kitex keeps a call's RPCInfo.
func RPCInfoKeyLearned() bool { return rpcinfoKey != any(unlearned{}) }

// ForgetMetainfoKeys makes arrivals do without the keys that were learned of package metainfo, as after a version of it
// that they can't be learned of. It must be called before anything arrives.
func ForgetMetainfoKeys() { metainfoKey, backwardKey = nil, nil }

// MetainfoKeys returns those keys; nil = not learned.
func MetainfoKeys() (forward, backward any) { return metainfoKey, backwardKey }

// HasFurther tells whether the call that ctx belongs to has its place for what few calls need.
func HasFurther(ctx context.Context) bool {
	d := departureFrom(ctx)
	return d != nil && d.more != nil
}
