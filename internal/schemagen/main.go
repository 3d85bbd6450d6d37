// Command schemagen writes the JSON Schemas of the rules document, for editors, and of the observer's events. Run it by go
// generate in pkg/graylib/rules.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// schemaFile is where the rules' schema stands, from the root of the repository.
const schemaFile = "docs/rules.schema.json"

func main() {
	root := flag.String("root", ".", "root of the repository")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	for _, f := range files {
		schema, err := f.generate(root)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(f.name)), schema, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// files are all that the command writes.
var files = []struct {
	name     string
	generate func(root string) ([]byte, error)
}{
	{schemaFile, generate},
	{eventsFile, generateEvents},
}
