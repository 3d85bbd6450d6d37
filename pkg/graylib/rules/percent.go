package rules

import (
	"fmt"

	"github.com/graychain/graychain/pkg/graylib"
)

// buckets is how finely percent divides: hundredths of a percent.
const buckets = 10_000

// Bucket returns where percent puts a value in a lane: a number from 0 to 9999. A condition with percent p matches the
// values whose bucket is below 100·p; so raising p only adds values, and the entry's name plays no part.
//
// It is the 64-bit FNV-1a hash (http://www.isthe.com/chongo/tech/comp/fnv/) of the tag, a zero byte and the value, mixed
// by the finalizer of MurmurHash3 (fmix64), because the low bits of FNV-1a alone are uneven over short numbers, modulo
// 10,000. For example, Bucket("gray", "1001") is 8891 on every machine and in every release.
func Bucket(tag graylib.Tag, value string) int { return int(bucket(percentSeed(tag), value)) }

// percentSeed is the state of the hash after the tag and the zero byte.
func percentSeed(tag graylib.Tag) uint64 {
	const offset64 = 14695981039346656037
	return fnv1a(fnv1a(offset64, string(tag)), "\x00")
}

func bucket(seed uint64, value string) uint64 {
	h := fnv1a(seed, value)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h % buckets
}

func fnv1a(h uint64, s string) uint64 {
	const prime64 = 1099511628211
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime64
	}
	return h
}

// percentText returns hundredths as a percentage.
func percentText(hundredths uint64) string {
	return fmt.Sprintf("%d.%02d", hundredths/100, hundredths%100)
}
