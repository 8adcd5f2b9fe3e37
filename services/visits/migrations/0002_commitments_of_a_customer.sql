-- CommitmentService.List of one customer.
CREATE INDEX commitment_by_customer ON ${schema}.commitment (tenant_id, customer_id, due_at);
