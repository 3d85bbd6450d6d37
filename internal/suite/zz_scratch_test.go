package suite

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"
	"bytes"

	"github.com/graychain/graychain/internal/draw"
	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/pkg/graylib"
)

func TestScratch(t *testing.T) {
	if os.Getenv("SCRATCH") == "" {
		t.Skip()
	}
	began := time.Now()
	s, err := Start(t.Context(), Options{State: "/tmp/gcs-scratch", Ports: Ports{34000, 34001, 34002, 34003, 34100, 34101},
		Infra:    LocalInfra{localinfra.Options{Nacos: localinfra.Port{Number: 34985}, Namesrv: localinfra.Port{Number: 34700}, Broker: localinfra.Port{Number: 34750}, Discard: true}},
		Progress: func(p Progress) { fmt.Println(time.Since(began).Round(time.Millisecond), p) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(t.Context())
	if err := s.Add(t.Context(), Baseline); err != nil {
		t.Fatal(err)
	}
	for _, set := range [][]string{{"a", "c"}, {"a"}, {"c"}, {"a", "b", "c"}, {}} {
		b := time.Now()
		mode := graylib.ModeAll
		if slices.Contains(set, "a") {
			mode = graylib.ModeIgnore
		}
		if _, err := s.PublishDemo(t.Context(), "gray", set); err != nil {
			t.Fatal(err)
		}
		fmt.Println(set, "published", time.Since(b))
		if err := s.AddLane(t.Context(), "gray", set...); err != nil {
			t.Fatal(err)
		}
		fmt.Println(set, "lane up", time.Since(b))
		for _, mode := range []graylib.Mode{mode, graylib.ModeAll} {
			if _, err := s.SetMode(t.Context(), "gray", mode); err != nil {
				t.Fatal(err)
			}
			for _, r := range []Request{{Path: "/A/dubbo"}, {Path: "/A/dubbo", Query: url.Values{"name": {"xiaoming"}}}, {Path: "/A/stream"}, {Path: "/A/a"}} {
				a, err := s.Send(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				j, err := s.Judge(t.Context(), r, a.RequestID, 15*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Println(set, mode, r, j.Verdict.Closed, a.Took)
				if !j.Verdict.Closed {
					var b bytes.Buffer
					draw.Loop(&b, nil, draw.Picture{Request: r.String(), Tag: j.Tag, Loop: j.Loop, Verdict: j.Verdict})
					t.Error(b.String())
				}
			}
		}
		fmt.Println(set, "done", time.Since(b))
		if len(set) > 0 {
			if err := s.RemoveLane(t.Context(), "gray"); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Println(set, "removed", time.Since(b))
	}
}
