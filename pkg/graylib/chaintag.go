package graylib

// ChainTag returns the tag of a chain of hops: that of the first hop that was reached with one. The gateway's own hop
// comes before the request is coloured.
func ChainTag(hops []Hop) Tag {
	for _, h := range hops {
		if h.RequestTag != Untagged {
			return h.RequestTag
		}
	}
	return Untagged
}
