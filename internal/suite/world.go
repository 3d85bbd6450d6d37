package suite

import (
	"context"

	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

// World returns what a loop is to be judged by: the lanes that the rules in Nacos list with their modes, and who lives.
func (s *Suite) World(ctx context.Context) (verdict.World, error) {
	doc, err := s.Rules(ctx)
	if err != nil {
		return verdict.World{}, err
	}
	return worldOf(doc, s.live(), s.options.Topic), nil
}

func worldOf(doc graylib.Rules, live map[graylib.Tag]map[string]bool, topic string) verdict.World {
	w := verdict.World{
		Lanes:    map[graylib.Tag]verdict.Lane{},
		Consumer: verdict.Consumer{Service: Consumer, Group: ConsumerGroup},
	}
	mode := doc.Consumption(Consumer, ConsumerGroup, topic)
	for tag, services := range live {
		if tag != graylib.Untagged {
			w.Lanes[tag] = verdict.Lane{Live: services, Mode: mode.Mode(tag)}
		}
	}
	for _, l := range doc.Lanes() {
		lane := w.Lanes[l.Tag]
		lane.Listed, lane.Mode = true, mode.Mode(l.Tag)
		if l.State == graylib.LaneRetired {
			lane.Mode = graylib.ModeAuto // a retired lane is in that row, whatever the mode says
		}
		w.Lanes[l.Tag] = lane
	}
	return w
}
