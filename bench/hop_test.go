package main

import "testing"

// BenchmarkHop is what the page's table of hops is made of, for profiles: go test ./bench -run - -bench Hop -cpuprofile cpu.out.
func BenchmarkHop(b *testing.B) {
	contestants, err := hopContestants()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range contestants {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			c.do(b.N)
		})
	}
}
