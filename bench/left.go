package main

// What a profile showed of the costs that are left; written by hand, and counted anew where they change.
const (
	leftOfTheHop = `What is left beyond the bare call, in instructions of the processor (counted by valgrind's callgrind over ` + "`" + `BenchmarkHop` + "`" + ` on 2026-11-22:
time on a shared machine is less steady). The bare call takes 52,900:

| | instructions |
|---|---|
| graylib's own: three middlewares, a handler of messages on each side, the arrival and the call | 1600 |
| TTHeader: one more key and value written, and two strings made of them where they are read | 590 |
| one more entry in the maps of two strings that lie between: put in, gone through, looked up, cleared | 350 |
| contexts and the rest | 150 |
| metainfo's values, which the bare call makes of each message though it has none, and graylib where somebody asks | -250 |
| what isn't allocated therefore | -1060 |
| together (3670 before messages were searched for what they have alone, 2330 before values were read and written without asking for each by name) | 1390 |

The second and third lines are Kitex's and can't be had for less through what it lets others plug in, but by a codec of one's own (client.WithCodec): it
could write and read the tag without a map and strings, and would make each service depend on a second implementation of
TTHeader, flags and checksums included. That is not worth a quarter of a microsecond. Hops are written and read as JSON at each hop.
`
	leftOfTheChain = `What the chain loses is less in what is executed (in user mode a plain request takes some 204,500 instructions, and graylib added 3300 to
it, 1.6 %, when it still took most of the room below) than in what the collector has to do: with GOGC=1000 its share was about half. Of graylib's
own a tagged request has 5500 through the chain. A request without a tag
allocates some 160 bytes beyond the plain chain's 4700, a tagged one 190, and one with id and trace 620 (650, 830 and 1290 before
arrivals and calls were made smaller), in fewer pieces than the plain one where it has no id and trace. They are the three arrivals and
two calls, whose contexts a handler may keep, so that they can't be used again; and of 620 two thirds are the strings that Kitex and
Hertz make of the id and the trace, of which the plain chain's requests have none. ` + "`" + `go test ./bench -run - -bench Chain -cpuprofile cpu.out` + "`" + ` profiles one chain at a time.
`
)
