// Package lanestate reads from the brokers what they hold for lanes: which consumer groups there are, who is a member, how far
// they are on each queue, and which messages wait, fail again or are dead. It joins no group and commits nothing, so that
// looking moves no message; what it moves on demand, dead letters, is in [Reader.Resend].
//
// Groups are found by their names: a base group is one that has its <group>__tagged, which the first baseline instance makes.
package lanestate
