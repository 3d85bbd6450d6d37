package localinfra

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

//go:embed poms/nacos/pom.xml poms/rocketmq/pom.xml java/GraychainNacos.java
var files embed.FS

// layout changes when what is kept in the cache beside the jars does; older contents are then fetched again.
const layout = "1"

// product is a set of jars to fetch and run.
type product struct {
	name, version string
	pom           string // the embedded file
	source        string // the embedded Java file to compile against the jars, or empty
	// first are the jars that must lead the class path, by the beginnings of their names; the others follow by name. That
	// order is ours rather than the folder's, which differs between file systems.
	first []string
	// needs are jars without which something else was fetched, by the beginnings of their names.
	needs []string
}

var (
	// Two versions of hessian hold the same classes: with the other one first Nacos dies at start, and without sofa's it
	// looks healthy but every push fails.
	nacosProduct = product{
		name: Nacos, version: "3.1.0", pom: "poms/nacos/pom.xml", source: "java/GraychainNacos.java",
		first: []string{"hessian-4."}, needs: []string{"nacos-server-", "hessian-3.", "hessian-4."},
	}
	rocketmqProduct = product{
		name: RocketMQ, version: "5.3.3", pom: "poms/rocketmq/pom.xml",
		needs: []string{"rocketmq-namesrv-", "rocketmq-broker-"},
	}
)

// mainJar holds what was compiled from a product's source.
const mainJar = "graychain-main.jar"

func (p product) title() string { return p.name + "-" + p.version }

// key changes with everything that decides what is in the cache.
func (p product) key() string {
	h := sha256.New()
	fmt.Fprintln(h, "layout", layout)
	for _, name := range []string{p.pom, p.source} {
		if name == "" {
			continue
		}
		data, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		fmt.Fprintln(h, name, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sortJars puts the jars of a product into the order of the class path.
func (p product) sortJars(jars []string) []string {
	rank := func(jar string) int {
		for i, f := range p.first {
			if strings.HasPrefix(jar, f) {
				return i
			}
		}
		return len(p.first)
	}
	sorted := slices.Sorted(slices.Values(jars))
	slices.SortStableFunc(sorted, func(a, b string) int { return rank(a) - rank(b) })
	return sorted
}

// missing names what a set of jars lacks.
func (p product) missing(jars []string) string {
	for _, need := range p.needs {
		if !slices.ContainsFunc(jars, func(jar string) bool { return strings.HasPrefix(jar, need) }) {
			return need + "*.jar"
		}
	}
	return ""
}
