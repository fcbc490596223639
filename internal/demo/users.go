package demo

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"storekeeper/internal/httpserver"

	"github.com/go-chi/chi/v5"
	"golang.org/x/crypto/bcrypt"
)

type credentials struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

type session struct {
	Success           bool   `json:"success"`
	AccessToken       string `json:"accessToken"`
	DefaultInstanceID string `json:"defaultInstanceId,omitempty"`
	User              user   `json:"user"`
}

func (a *AuthWorker) signup(w http.ResponseWriter, r *http.Request) error {
	var c credentials
	if err := readJSON(w, r, &c); err != nil {
		return err
	}
	c.Email = strings.ToLower(strings.TrimSpace(c.Email))
	if !strings.Contains(c.Email, "@") || c.Password == "" {
		return refuse(http.StatusBadRequest, "Email and password are required")
	}
	// The cheapest hash will do: this is a demo, and tests sign up many users.
	hash, err := bcrypt.GenerateFromPassword([]byte(c.Password), bcrypt.MinCost)
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return refuse(http.StatusBadRequest, "Password is too long")
	} else if err != nil {
		return err
	}
	now := time.Now()
	u, first, err := a.store.createUser(r.Context(), c.Email, hash, now)
	if err != nil {
		return err
	}
	a.notifier.notify(eventCreated, first.ID, u.ID, now)
	return a.welcome(w, r, u)
}

func (a *AuthWorker) login(w http.ResponseWriter, r *http.Request) error {
	var c credentials
	if err := readJSON(w, r, &c); err != nil {
		return err
	}
	u, hash, err := a.store.userByEmail(r.Context(), strings.ToLower(strings.TrimSpace(c.Email)))
	if err != nil {
		return err
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(c.Password)) != nil { // an unknown user has no hash
		return refuse(http.StatusUnauthorized, "Invalid email or password")
	}
	return a.welcome(w, r, u)
}

func (a *AuthWorker) welcome(w http.ResponseWriter, r *http.Request, u user) error {
	token, err := a.store.issueToken(r.Context(), u.ID)
	if err != nil {
		return err
	}
	own, err := a.store.instances(r.Context(), u.ID)
	if err != nil {
		return err
	}
	s := session{Success: true, AccessToken: token, User: u}
	for _, i := range own {
		if i.IsDefault {
			s.DefaultInstanceID = i.ID
		}
	}
	httpserver.WriteJSON(w, http.StatusOK, s)
	return nil
}

// caller returns the id of the user whose access token the request has. Without one it is a refusal.
func (a *AuthWorker) caller(r *http.Request) (userID string, err error) {
	userID, err = a.store.userByToken(r.Context(), bearer(r))
	if err == nil && userID == "" {
		return "", refuse(http.StatusUnauthorized, "Invalid or missing access token")
	}
	return userID, err
}

func (a *AuthWorker) listOwn(w http.ResponseWriter, r *http.Request) error {
	userID, err := a.caller(r)
	if err != nil {
		return err
	}
	own, err := a.store.instances(r.Context(), userID)
	if err != nil {
		return err
	}
	httpserver.WriteJSON(w, http.StatusOK, map[string]any{"instances": own})
	return nil
}

func (a *AuthWorker) create(w http.ResponseWriter, r *http.Request) error {
	userID, err := a.caller(r)
	if err != nil {
		return err
	}
	var body struct {
		Name string `json:"name"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	body.Name = strings.TrimSpace(body.Name)
	if body.Name == "" {
		return refuse(http.StatusBadRequest, "Workspace name is required")
	}
	now := time.Now()
	created, err := a.store.createInstance(r.Context(), userID, body.Name, now)
	if err != nil {
		return err
	}
	a.notifier.notify(eventCreated, created.ID, userID, now)
	httpserver.WriteJSON(w, http.StatusCreated, map[string]any{"instance": created})
	return nil
}

func (a *AuthWorker) remove(w http.ResponseWriter, r *http.Request) error {
	userID, err := a.caller(r)
	if err != nil {
		return err
	}
	id := chi.URLParam(r, "id")
	if err := a.store.deleteInstance(r.Context(), userID, id); err != nil {
		return err
	}
	a.notifier.notify(eventDeleted, id, userID, time.Now())
	httpserver.WriteJSON(w, http.StatusOK, map[string]bool{"success": true})
	return nil
}
