package ownership

import (
	"cmp"
	"slices"
	"time"
)

// Roster remembers who was seen in a group, and when its list was read last. One roster serves all queues of a group; it is
// not safe for concurrent use.
type Roster struct {
	ids    []string  // the last list, sorted
	readAt time.Time // when the request for it was sent
	seen   map[string]time.Time
	forget time.Duration
}

// NewRoster returns a roster that forgets an id twice the lock's lifetime after it was listed last: its lock has lapsed by
// then, if it ever held one.
func NewRoster(lockLife time.Duration) *Roster {
	return &Roster{seen: make(map[string]time.Time), forget: 2 * lockLife}
}

// Read takes in a list whose request was sent at sentAt. A list older than the last one is ignored.
func (r *Roster) Read(sentAt time.Time, ids []string) {
	if sentAt.Before(r.readAt) {
		return
	}
	r.ids = slices.Clone(ids)
	slices.Sort(r.ids)
	r.readAt = sentAt
	for _, id := range ids {
		r.seen[id] = sentAt
	}
	for id, at := range r.seen {
		if sentAt.Sub(at) > r.forget {
			delete(r.seen, id)
		}
	}
}

// IDs returns the last list, sorted. The slice must not be changed.
func (r *Roster) IDs() []string { return r.ids }

// ReadAt returns when the last list was asked for.
func (r *Roster) ReadAt() time.Time { return r.readAt }

// Lists tells whether the last list has the id.
func (r *Roster) Lists(id string) bool {
	_, found := slices.BinarySearch(r.ids, id)
	return found
}

// Gone returns the ids that were seen earlier and that the last list lacks: those seen last come first.
func (r *Roster) Gone() []string {
	var gone []string
	for id := range r.seen {
		if !r.Lists(id) {
			gone = append(gone, id)
		}
	}
	slices.SortFunc(gone, func(a, b string) int { return cmp.Or(r.seen[b].Compare(r.seen[a]), cmp.Compare(a, b)) })
	return gone
}
