package graykitex

import "context"

// ForgetKeys makes contexts do without the keys that were learned of metainfo and of Kitex, as after versions of them
// that they can't be learned of. It tells which were learned, and returns what puts them back.
func ForgetKeys() (forward, backward, rpcinfo bool, restore func()) {
	f, b, r := metainfoKey, backwardKey, rpcinfoKey
	metainfoKey, backwardKey, rpcinfoKey = nil, nil, any(unlearned{})
	return f != nil, b != nil, r != any(unlearned{}), func() { metainfoKey, backwardKey, rpcinfoKey = f, b, r }
}

// HasFurther tells whether the call that ctx belongs to has its place for what few calls need.
func HasFurther(ctx context.Context) bool {
	d := departureFrom(ctx)
	return d != nil && d.more != nil
}
