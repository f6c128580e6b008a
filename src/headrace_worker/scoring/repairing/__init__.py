"""Valid requests that MLflow refuses by an accident, in the form that it takes."""
