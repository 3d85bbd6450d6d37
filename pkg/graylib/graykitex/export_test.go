package graykitex

// ForgetMetainfoKeys makes arrivals do without the keys that were learned of package metainfo, as after a version of it
// that they can't be learned of. It returns what they were, and what puts them back.
func ForgetMetainfoKeys() (forward, backward any, restore func()) {
	forward, backward = metainfoKey, backwardKey
	metainfoKey, backwardKey = nil, nil
	return forward, backward, func() { metainfoKey, backwardKey = forward, backward }
}
