"""Web Push: encrypting notifications for browsers and handing them to push services."""
