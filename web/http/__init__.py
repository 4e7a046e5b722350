"""What every endpoint and page needs: endpoints and their document, who may ask, sessions, problems, health."""
