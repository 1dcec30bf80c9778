package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var commands = map[string]func(){
	"facts":  func() { must(json.NewEncoder(os.Stdout).Encode(facts())) },
	"answer": func() { serve(os.Stdin, os.Stdout) },
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	if len(os.Args) > 1 && commands[os.Args[1]] != nil {
		commands[os.Args[1]]()
		return
	}
	fmt.Fprintln(os.Stderr, "usage: conformance facts | answer")
	os.Exit(2)
}
