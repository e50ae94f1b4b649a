"""How a database gets there: plan and apply SQL migrations, and keep the ledger of them."""
