package main

import (
	"fmt"
	"os"
)

func main() {
	cs, err := hopContestants()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out := measure(100, cs...)
	for i, c := range cs {
		fmt.Println(c.name, estimated(out[i].ns()).format("%.0f"), "beyond", estimated(out[i].beyond(out[0])).format("%.0f"), out[i].allocs()-out[0].allocs())
	}
	for _, s := range chooseShapes {
		cs, err := chooseContestants(s.instances, s.lanes)
		if err != nil {
			panic(err)
		}
		out := measure(30, cs...)
		for i, c := range cs {
			fmt.Println(s, c.name, estimated(out[i].ns()).format("%.1f"), "times", estimated(out[i].beyond(out[1])).format("%.1f"), out[i].allocs())
		}
	}
	cs, err = rulesContestants()
	if err != nil {
		panic(err)
	}
	out = measure(50, cs...)
	for i, c := range cs {
		fmt.Println(c.name, estimated(out[i].ns()).format("%.0f"), out[i].allocs())
	}
	sw, err := measureSwapping(50)
	fmt.Println(err, sw.swaps, sw.evaluations, estimated(sw.still), estimated(sw.swapping))
}
