package lanescmd

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/graychain/graychain/internal/fleet"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
)

// unaware names a live member of the groups that handle the lane's messages of which it can't be said that it goes by the
// rules of that revision or later ones, "" where there is none. Cut off from Nacos it would go on as if the lane were not being
// forgotten, and handle what others take for the baseline's.
func (e *ending) unaware(ctx context.Context, at place, revision int64) (string, error) {
	if e.unheard {
		return "", nil
	}
	// Brokers may serve other systems, too. Of a group that no instance in the registry consumes for, __tagged may be theirs; who is
	// in the lane's group is asked about all the same: a whole service may be cut off.
	var bases []string
	owners := make(map[string]fleet.Instance) // by client id
	for _, in := range at.instances {
		if in.Status == nil {
			return fmt.Sprintf("%s of %s can't be asked by which rules it goes: %s", in.ID, in.Service, in.Problem), nil
		}
		for _, c := range in.Status.Consumers {
			bases = append(bases, c.Group)
			for _, g := range c.Groups {
				owners[g.Member] = in
			}
		}
	}
	slices.Sort(bases)
	for _, base := range at.bases {
		for _, of := range []lanestate.Of{{Base: base, Kind: graylib.GroupLane, Lane: e.tag}, {Base: base, Kind: graylib.GroupTagged}} {
			if _, ours := slices.BinarySearch(bases, base); !at.known[of.Name()] || of.Kind == graylib.GroupTagged && !ours {
				continue
			}
			for _, broker := range slices.Sorted(maps.Keys(at.brokers)) {
				ids, err := e.reader.API().Members(ctx, at.brokers[broker], of.Name())
				if err != nil {
					return "", fmt.Errorf("broker %q: %w", broker, err)
				}
				for _, id := range ids {
					in, spoken := owners[id]
					switch {
					case !spoken:
						return fmt.Sprintf("member %q of group %q at broker %q: no live instance in the registry says that it is its own, so nobody knows by which rules it goes", id, of.Name(), broker), nil
					case in.Status.Rules.Revision < revision:
						return fmt.Sprintf("%s of %s at %s, a member of group %q, goes by revision %d of the rules, which is before %d", in.ID, in.Service, in.Addr, of.Name(), in.Status.Rules.Revision, revision), nil
					}
				}
			}
		}
	}
	return "", nil
}
