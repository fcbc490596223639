// Package commandlines finds the commands of starter that a page of the documentation names, for tests that try them.
package commandlines

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	fence = regexp.MustCompile("(?ms)^ *```\\w*\n(.*?)^ *```")
	span  = regexp.MustCompile("`([^`\n]+)`")
	// start is where a command begins: alone, in bin/, or behind variables. Text before it in a span is not ours.
	start = regexp.MustCompile(`^(?:.*?(?:[A-Z_]+=\S*) )?(?:bin/)?starter( |$)`)
	// end is where the shell goes on with something else.
	end      = regexp.MustCompile(` +#.*$| *(?:\||>|;|&&).*$`)
	word     = regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`)
	optional = regexp.MustCompile(`\[([^\]]*)\]`)
)

// Of returns the commands of starter in the code of a page, each once and without "starter" itself, sorted. Of one with an optional part there are two.
func Of(page string) []string {
	found := map[string]bool{}
	add := func(text string) {
		if at := start.FindStringIndex(text); at != nil {
			command := strings.TrimSpace(end.ReplaceAllString(text[at[1]:], ""))
			if optional.MatchString(command) {
				found[strings.Join(strings.Fields(optional.ReplaceAllString(command, "")), " ")] = true
			}
			found[optional.ReplaceAllString(command, "$1")] = true
		}
	}
	for _, block := range fence.FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			add(strings.TrimRight(line, "\n"))
		}
	}
	for _, code := range span.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		add(code[1])
	}
	return slices.Sorted(maps.Keys(found))
}

// placeholders are what pages write for what only the reader knows.
var placeholders = map[string]string{
	"R": "a reason", "HASH": "3f9a61c2d07b45e8", "RUNID": "run-1", "BATCH": "batch-1", "USERID": "user-1", "TEXT": "text", "V": "v1",
}

// Args are the arguments of a command, with values for placeholders: these, and for all others some that fit.
func Args(command string, values map[string]string) (args []string) {
	for _, w := range word.FindAllStringSubmatch(command, -1) {
		text := w[1] + w[2] + w[3]
		if value, ok := values[text]; ok {
			text = value
		} else if value, ok := placeholders[text]; ok {
			text = value
		}
		args = append(args, text)
	}
	return args
}
