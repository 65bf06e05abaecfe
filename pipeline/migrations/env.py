"""Where Alembic starts a step: on the connection, and in the transaction, that `pipeline.migrate` gives it."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
