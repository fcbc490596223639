package activities

import (
	"context"
	"iter"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// fewStores is how many stores are read at first where the two sides differ: most differences stand alone.
const fewStores = 50

// comparison merges the sorted authoritative ids with the sorted pages of the store manager. It keeps neither side.
//
// It reads the ids of what is monitored, which suffice for nearly all stores. Where the sides differ it reads the stores themselves. A
// page of stores replaces the rest of the page of ids, so that the planner sees each store once, and as one single read showed it.
type comparison struct {
	input   contract.CompareInput
	list    iter.Seq2[string, error]
	planner *planner
	manager ComparedStores
	alive   func() // called before each page

	// The rest of the page in hand, of ids or of stores.
	ids       []string
	unsettled string // of the ids
	stores    []storemanager.Store

	cases foldedIDs

	passed string // the last id of either side that is done with
	more   bool   // there is another page after the one in hand
	limit  int    // of the next page of stores
}

// compare walks both sides in the order of ids.
func (c *comparison) compare(ctx context.Context) error {
	c.more, c.limit = true, fewStores
	c.cases = newFoldedIDs(c.planner.overview.Monitored)
	for listed, err := range c.list {
		if err == nil {
			err = c.pass(ctx, listed)
		}
		if err != nil {
			return err
		}
	}
	if err := c.pass(ctx, ""); err != nil {
		return err
	}
	return c.flushMarks(ctx)
}

// pass tells the planner of everything monitored before the listed id, and then of that id; "" is the end of the list.
func (c *comparison) pass(ctx context.Context, listed string) error {
	before := func(id string) bool { return listed == "" || id < listed }
	for {
		switch {
		case len(c.ids) > 0 && c.ids[0] == listed && listed != c.unsettled:
			c.planner.inBothSettled()
			c.cases.addBoth(listed)
			c.passed, c.ids = listed, c.ids[1:]
			if len(c.ids) == 0 {
				c.limit = fewStores // nothing differed in a whole page
			}
			return nil
		case len(c.ids) > 0 && (c.ids[0] == listed || before(c.ids[0])):
			if err := c.readStores(ctx); err != nil {
				return err
			}
		case len(c.stores) > 0 && before(c.stores[0].ID):
			c.planner.onlyMonitored(&c.stores[0])
			c.cases.addUnlisted(c.stores[0].ID)
			c.passed, c.stores = c.stores[0].ID, c.stores[1:]
		case len(c.stores) > 0 && c.stores[0].ID == listed:
			c.planner.inBoth(&c.stores[0])
			c.cases.addBoth(listed)
			c.passed, c.stores = listed, c.stores[1:]
			return nil
		case len(c.ids)+len(c.stores) == 0 && c.more:
			if err := c.readIDs(ctx); err != nil {
				return err
			}
		default:
			if listed != "" {
				c.planner.onlyListed(listed)
				c.cases.addMissing(listed)
				c.passed = listed
			}
			return nil
		}
	}
}

// readIDs goes on to the next page.
func (c *comparison) readIDs(ctx context.Context) error {
	if err := c.flushMarks(ctx); err != nil {
		return err
	}
	c.alive()
	page, err := c.manager.ListIDs(ctx, c.passed)
	c.ids, c.unsettled, c.more = page.IDs, page.Unsettled, page.NextCursor != ""
	return err
}

// readStores replaces the ids in hand by stores. It reads more at once where differences follow each other closely.
func (c *comparison) readStores(ctx context.Context) error {
	page, err := c.manager.List(ctx, storemanager.ListRequest{Cursor: c.passed, Limit: c.limit})
	c.limit = min(2*c.limit, storemanager.MaxBatch)
	c.ids, c.stores, c.more = nil, page.Stores, page.NextCursor != ""
	return err
}

func (c *comparison) flushMarks(ctx context.Context) error {
	marks := &c.planner.marks
	if len(marks.Unlisted)+len(marks.Listed) == 0 {
		return nil
	}
	var err error
	if !c.input.ReadOnly {
		err = c.manager.MarkUnlisted(ctx, *marks)
	}
	marks.Unlisted, marks.Listed = nil, nil
	return err
}
