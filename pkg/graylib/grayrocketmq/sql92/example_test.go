package sql92_test

import (
	"fmt"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/sql92"
)

func Example() {
	e, err := sql92.Parse("(region = 'eu' OR region IS NULL) AND amount > 99.5")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, message := range []map[string]string{
		{"region": "eu", "amount": "120"},
		{"amount": "120"},
		{"region": "us", "amount": "120"},
		{"region": "eu", "amount": "much"},
	} {
		fmt.Println(e.Match(func(name string) (string, bool) { v, ok := message[name]; return v, ok }))
	}
	// Output:
	// true <nil>
	// true <nil>
	// false <nil>
	// false SQL92 expression has no value for this message: "much" is not a number
}

func ExampleParse() {
	_, err := sql92.Parse("region != 'eu'")
	fmt.Println(err)
	e, err := sql92.Parse("gray-tag = 'blue'")
	fmt.Printf("means %q, ignores %q, %v\n", e.Text(), e.Ignored(), err)
	// Output:
	// SQL92 expression refused: "region != 'eu'": at character 8: "!" begins nothing; names consist of a-z, A-Z, 0-9, _ and $, strings stand in single quotes
	// means "gray", ignores "-tag = 'blue'", <nil>
}
