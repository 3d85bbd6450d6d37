package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
)

// brown is a lane that this test takes to its end; no other test lists it, nor another run on the same Nacos.
var brown = graylib.Tag(fmt.Sprintf("brown-%x", os.Getpid()))

// TestLaneRetiredByCommand shows a lane of real services, alive and gone, and retires it; in full it is forgotten too.
func TestLaneRetiredByCommand(t *testing.T) {
	s := chain(t)
	name := string(brown)
	servers := []string{"GRAY_NACOS_ADDR=" + testenv.Nacos(t), "GRAY_NAMESRV_ADDR=" + testenv.Namesrv(t)}
	demo := withLane(t, s, brown)
	laneFor(t, s, brown, "a", "c")
	closes(t, s, request(t, "/A/dubbo?name="+demo.Name), brown)
	consumedBy := func(role string) func() bool {
		return func() bool {
			code, out := cli(t, servers, "lanes", name, "--group", suite.ConsumerGroup, "--output", "json")
			var v struct {
				Lanes []struct {
					Groups []struct {
						Name    string
						Waiting struct{ N int }
						Queues  []struct{ Behind int64 }
						Owned   []struct{ Role, Topic, Service string }
					}
				}
			}
			if err := json.Unmarshal([]byte(out), &v); err != nil {
				t.Fatalf("exit code %d, %v:\n%s", code, err, out)
			}
			if len(v.Lanes) != 1 || len(v.Lanes[0].Groups) != 1 {
				return false
			}
			g := v.Lanes[0].Groups[0]
			owned := 0
			for _, o := range g.Owned {
				if o.Role != role || o.Service != suite.Consumer {
					return false
				}
				if !strings.HasPrefix(o.Topic, "%") {
					owned++
				}
			}
			return code == 0 && g.Name == suite.ConsumerGroup+"_"+name && g.Waiting.N == 0 && len(g.Queues) > 0 && owned == len(g.Queues)
		}
	}
	eventually(t, patience, "the lane owns its queues", consumedBy("own"))
	if code, out := cli(t, servers, "doctor"); code != 0 || !strings.Contains(out, "✔ lanes          lane "+name+" lives\n") {
		t.Errorf("doctor: exit code %d\n%s", code, out)
	}
	if err := s.RemoveLane(t.Context(), brown); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "stand-ins own its queues", consumedBy("standin"))

	code, out := cli(t, servers, "lanes", "retire", name)
	if code != 0 || !strings.HasSuffix(out, "nothing is left of lane "+name+"; `graychain lanes forget "+name+"` lets it leave the rules\n") {
		t.Errorf("retire: exit code %d\n%s", code, out)
	}
	eventually(t, patience, "a retired lane colours nothing", func() bool {
		a, err := s.Send(t.Context(), request(t, "/A/dubbo?name="+demo.Name))
		return err == nil && a.Tag == graylib.Untagged
	})
	if !full() {
		return
	}
	if code, out = cli(t, servers, "lanes", "forget", name); code != 0 || !strings.Contains(out, "\nlane "+name+" has left the rules, revision ") {
		t.Errorf("forget: exit code %d\n%s", code, out)
	}
	if code, out = cli(t, servers, "lanes", "forget", name); code != 1 || !strings.Contains(out, `lane isn't listed: "`+name+`"`) {
		t.Errorf("forget again: exit code %d\n%s", code, out)
	}
}
